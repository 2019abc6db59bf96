"""What is live is watched: judged and explained here, and by rules in programs that people watch with."""
