"""What the end-to-end tests share: the daemon, web servers, clients, books."""
