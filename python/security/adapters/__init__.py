"""Bridges to web frameworks; each is imported only where its framework is used."""
