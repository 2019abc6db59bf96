"""Git: the command, repositories and mirrors, partitions, tags, published commits."""
