"""What is live is watched: rules, dashboards and objects for the programs that people watch with."""
