"""The engine of Elasticsearch: modules beside one another, `engine` on top."""
