"""What is generated from the schema: the JSON Schema and the page on the spec."""
