"""Tests of the Marketo client."""
