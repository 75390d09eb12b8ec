"""The Marketo REST and bulk APIs: auth · protocol, answers, refusals, exports (bytes in, values out) · client."""
