"""What every layer shares: wire messages, payloads, serialization, tracebacks, context, interfaces."""
