"""The Dataverse Web API: auth · protocol, metadata, batch, refusals (bytes in, values out) · client."""
