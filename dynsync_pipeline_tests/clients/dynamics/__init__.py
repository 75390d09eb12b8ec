"""Tests of the Dataverse client."""
