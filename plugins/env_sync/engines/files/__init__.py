"""The engine for directories of files: a dump is a tar.gz, promote swaps two directories."""
