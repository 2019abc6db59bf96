"""The commands, a module for each subject, thin. What a command needs is imported when it runs."""
