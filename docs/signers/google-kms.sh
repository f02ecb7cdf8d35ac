#!/bin/sh
# Signs with Google Cloud KMS. PLIMSOLL_KEY names a version of a key:
# projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1, of the kind
# EC_SIGN_P256_SHA256 or RSA_SIGN_PKCS1_*_SHA256.
#   gcloud kms keys versions get-public-key 1 --key K --keyring R --location L --output-file public.pem
# gcloud hashes the manifest itself, and gives the bytes of the signature (DER).
set -eu
exec gcloud kms asymmetric-sign --version "$PLIMSOLL_KEY" \
	--digest-algorithm sha256 --input-file /dev/stdin --signature-file -
