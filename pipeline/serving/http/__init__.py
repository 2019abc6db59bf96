"""The server's HTTP: routes, the short way for small requests, the OpenAPI page."""
