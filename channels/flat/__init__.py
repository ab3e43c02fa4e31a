"""Channels without a resource grid."""
