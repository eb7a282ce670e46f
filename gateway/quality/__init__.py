"""The contract at work: what is sent measured by it, and how teams change it together."""
