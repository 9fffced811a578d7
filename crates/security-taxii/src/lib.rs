//! TAXII 2.1: protocol and client.
