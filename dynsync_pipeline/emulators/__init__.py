"""Local Dataverse and Marketo servers, the embedded default. Only the command line and tests use them."""
