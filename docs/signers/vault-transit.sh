#!/bin/sh
# Signs with the transit engine of HashiCorp Vault, or of OpenBao (VAULT=bao).
# PLIMSOLL_KEY is MOUNT/NAME, such as transit/release, of the type ecdsa-p256,
# rsa-2048, rsa-3072, rsa-4096 or ed25519. VAULT_ADDR and VAULT_TOKEN are Vault's own.
#   vault read -format=json transit/keys/release | jq -r '.data.keys["1"].public_key' > public.pem
# Vault gets the digest, but for Ed25519 the manifest, and gives
# vault:v1:BASE64 (of DER, for P-256).
set -eu
mount=${PLIMSOLL_KEY%/*} name=${PLIMSOLL_KEY##*/}
case $PLIMSOLL_ALGORITHM in
ed25519) set -- input="$(base64 | tr -d '\n')" ;;
*) set -- input="$PLIMSOLL_SHA256_BASE64" prehashed=true signature_algorithm=pkcs1v15 marshaling_algorithm=asn1 ;;
esac
signature=$("${VAULT:-vault}" write -field=signature "$mount/sign/$name/sha2-256" "$@")
printf '%s\n' "${signature##*:}"
