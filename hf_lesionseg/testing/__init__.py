"""What tests need and ships with the package: small files that any machine can make."""
