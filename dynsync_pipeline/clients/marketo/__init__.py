"""The Marketo REST and bulk APIs: auth, protocol (bytes in, page or named error out), client."""
