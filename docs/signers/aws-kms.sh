#!/bin/sh
# Signs with AWS KMS. PLIMSOLL_KEY is the id, the ARN or the alias of a key for
# SIGN_VERIFY of the kind ECC_NIST_P256 or RSA_2048, RSA_3072, RSA_4096.
#   aws kms get-public-key --key-id alias/release --output text --query PublicKey |
#     base64 -d | openssl pkey -pubin -inform DER -out public.pem
# KMS gets the digest, and gives base64 (of DER, for P-256).
set -eu
case $PLIMSOLL_ALGORITHM in
p256) algorithm=ECDSA_SHA_256 ;;
rsa*) algorithm=RSASSA_PKCS1_V1_5_SHA_256 ;;
*) echo "AWS KMS does not sign artifacts with $PLIMSOLL_ALGORITHM" >&2; exit 1 ;;
esac
printf %s "$PLIMSOLL_SHA256_BASE64" | base64 -d |
	aws kms sign --key-id "$PLIMSOLL_KEY" --message fileb:///dev/stdin --message-type DIGEST \
		--signing-algorithm "$algorithm" --output text --query Signature
