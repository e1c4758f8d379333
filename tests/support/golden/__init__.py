"""Fifty steps of every strategy as they were when their references and properties held."""
