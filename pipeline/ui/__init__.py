"""What people see: commands, the terminal, pages in Airflow, examples.

It reads what the wings below give and decides nothing; nothing imports it.
"""
