// The little that HTML cannot do: follow Airflow's light or dark theme, and keep the page of a going run up to date.
"use strict";

function followTheme() {
  let theme = null;
  try {
    theme = localStorage.getItem("theme"); // where Airflow's UI, of the same origin, keeps its choice
  } catch (error) {
    // storage is forbidden: the system's choice holds
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

async function refresh(page) {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("page");
  if (!fresh) return;
  if (fresh.innerHTML !== page.innerHTML && !page.contains(document.activeElement)) page.innerHTML = fresh.innerHTML;
  if (fresh.dataset.follow) page.dataset.follow = fresh.dataset.follow;
  else delete page.dataset.follow;
}

function keepUpToDate() {
  const page = document.getElementById("page");
  if (!page || !page.dataset.follow) return;
  setTimeout(() => refresh(page).catch(() => {}).finally(keepUpToDate), Number(page.dataset.follow) * 1000);
}

followTheme();
addEventListener("storage", followTheme);
addEventListener("DOMContentLoaded", keepUpToDate);
