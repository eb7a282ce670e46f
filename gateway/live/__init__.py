"""Publish: the feed, as it is written, to everyone who watches; resumable by cursor."""
