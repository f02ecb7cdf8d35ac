#!/bin/sh
# Signs with Azure Key Vault. PLIMSOLL_KEY is the key's identifier,
# https://VAULT.vault.azure.net/keys/NAME/VERSION, of the kind EC P-256 or RSA.
#   az keyvault key download --id "$ID" --encoding PEM --file public.pem
# Key Vault gets the digest in base64, as az takes it from 2.69 on, and gives
# base64 of the signature (for P-256 of r and s).
set -eu
case $PLIMSOLL_ALGORITHM in
p256) algorithm=ES256 ;;
rsa*) algorithm=RS256 ;;
*) echo "Key Vault does not sign artifacts with $PLIMSOLL_ALGORITHM" >&2; exit 1 ;;
esac
exec az keyvault key sign --id "$PLIMSOLL_KEY" --algorithm "$algorithm" \
	--digest "$PLIMSOLL_SHA256_BASE64" --query signature --output tsv
