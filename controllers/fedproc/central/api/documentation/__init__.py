"""The API's documentation: Swagger UI to a browser, and a page without scripts beside it."""
