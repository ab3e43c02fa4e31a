"""What a training minimises: losses, features, critics."""
