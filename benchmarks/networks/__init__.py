"""Networks beside bare scripts of their frameworks."""
