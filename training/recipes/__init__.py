"""One frozen dataclass per network: data, losses, schedule."""
