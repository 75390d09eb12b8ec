"""The Dataverse Web API: auth, protocol (bytes in, page or named error out), client."""
