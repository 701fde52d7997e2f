"""The engine of MongoDB, and of what speaks its protocol: modules beside one another, `engine` on top."""
