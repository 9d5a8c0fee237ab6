"""High availability, proven with processes: three nats-servers, three bridges, agents at work."""
