"""What the command line prints for people, a module for each subject."""
