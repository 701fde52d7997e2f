"""What it means when a request to an S3 server fails: whether to try again, and what to tell people."""

from __future__ import annotations

import http.client

from attrs import frozen
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    InvalidEndpointConfigurationError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from env_sync.core.errors import AccessRefused, EnvSyncError, NoSuchBucket, ServerUnreachable, TransferFailed

FAULTS = (
    BotoCoreError,
    ClientError,
    ResponseParserError,
    HTTPError,
    http.client.HTTPException,
    ConnectionError,
)
"""Everything that a request, or reading its answer, can raise."""

ABSENT = frozenset({"NoSuchKey", "NoSuchVersion", "404", "NotFound"})
CHANGED = frozenset({"PreconditionFailed", "412"})
"""The object is another one than the request is about."""

_REFUSED = frozenset(
    {
        "401",
        "403",
        "AccessDenied",
        "AccountProblem",
        "AllAccessDisabled",
        "ExpiredToken",
        "Forbidden",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "Unauthorized",
    }
)
_OTHER_REGION = frozenset(
    {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
)
_BUSY = frozenset(
    {
        "BadDigest",  # the bytes were changed on their way: send them again
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "XAmzContentSHA256Mismatch",
    }
)
_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)
_UNREACHED = (
    ConnectTimeoutError,
    EndpointConnectionError,
    InvalidEndpointConfigurationError,
    ProxyConnectionError,
    SSLError,
)
_GRANTS = {
    "list_objects_v2": "s3:ListBucket on the bucket",
    "head_object": "s3:GetObject on the key",
    "get_object": "s3:GetObject on the key",
    "copy_object": "s3:GetObject and s3:GetObjectTagging on the key in the source; s3:PutObject, "
    "s3:PutObjectAcl and s3:PutObjectTagging on it in the destination",
    "upload_part_copy": "s3:GetObject on the key in the source, s3:PutObject on it in the destination",
    "get_object_tagging": "s3:GetObjectTagging on the key",
    "delete_object": "s3:DeleteObject on the key",
    "put_object": "s3:PutObject on the key (and s3:PutObjectAcl where upload_acl is set)",
    "create_multipart_upload": "s3:PutObject on the key (and s3:PutObjectAcl where upload_acl is set)",
    "upload_part": "s3:PutObject on the key",
    "complete_multipart_upload": "s3:PutObject on the key",
    "abort_multipart_upload": "s3:AbortMultipartUpload on the key",
}
"""The permissions behind each request, from AWS's "Required permissions for Amazon S3 API operations"."""


@frozen(kw_only=True)
class Access:
    """How a server is reached, for errors: the Airflow connection, whose it is, the endpoint's URL."""

    connection_id: str
    identity: str
    endpoint: str

    def __str__(self) -> str:
        return f"connection {self.connection_id} ({self.identity}) at {self.endpoint}"


@frozen(kw_only=True)
class Request:
    """One request, for errors: its name as boto3 spells it, and what it is about."""

    operation: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.operation} of s3://{self.bucket}/{self.key}"


def code_of(fault: BaseException) -> str:
    """The server's own code for what went wrong, e.g. `NoSuchKey`; empty where it sent none."""
    return str(fault.response.get("Error", {}).get("Code", "")) if isinstance(fault, ClientError) else ""


def inner_error(fault: BaseException) -> EnvSyncError | None:
    """Our own error, where botocore has wrapped one that was raised while it read what it sends."""
    wrapped = fault.kwargs.get("error") if isinstance(fault, HTTPClientError) else None
    return wrapped if isinstance(wrapped, EnvSyncError) else None


def is_transient(fault: BaseException) -> bool:
    """Whether the same request may well succeed a little later."""
    if isinstance(fault, ClientError):
        status = fault.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = code_of(fault)
        return code in _BUSY or status == 429 or (status >= 500 and code != "NotImplemented")
    if isinstance(fault, BotoCoreError):
        return isinstance(fault, (HTTPClientError, IncompleteReadError, EndpointConnectionError))
    return isinstance(fault, FAULTS) and not isinstance(fault, ResponseParserError)


def explain(fault: BaseException, request: Request, access: Access) -> EnvSyncError:
    """The error to raise for a fault that is not tried again (any more)."""
    if isinstance(fault, ClientError):
        return _explain_answer(fault, request, access)
    if isinstance(fault, _CREDENTIALS):
        return AccessRefused(
            f"{request}: no credentials for {access}. Add an access key and its secret to the connection, "
            "or a role_arn to its extra, or give this machine a role"
        )
    if isinstance(fault, ParamValidationError):
        return NoSuchBucket(
            f"{request}: not a name that S3 allows: {fault}. Check the buckets and `path` of the sync"
        )
    if isinstance(fault, _UNREACHED):
        return ServerUnreachable(
            f"No S3 server answers at {access.endpoint} ({type(fault).__name__}). Check endpoint_url in the "
            f"extra of connection {access.connection_id}, and the network between"
        )
    if isinstance(fault, ResponseParserError):
        return no_s3(access)
    return TransferFailed(
        f"{request} through {access} failed, also after trying again: {type(fault).__name__}. "
        "Run the sync again when the network and the server are well"
    )


def _explain_answer(fault: ClientError, request: Request, access: Access) -> EnvSyncError:
    code, said = code_of(fault), str(fault.response.get("Error", {}).get("Message", ""))[:300]
    if code == "NoSuchBucket":
        return NoSuchBucket(
            f"There is no bucket {request.bucket} at {access.endpoint} (connection {access.connection_id}). "
            "Check the bucket's name in the sync and endpoint_url of the connection, or make the bucket"
        )
    if code == "InvalidBucketName":
        return NoSuchBucket(f"{request.bucket!r} is not a bucket's name. Correct it in the sync")
    if code in _OTHER_REGION:
        return NoSuchBucket(
            f"The bucket {request.bucket} is in another region than {access} looks in: {said} "
            "Set region_name in the connection's extra"
        )
    if code == "RequestTimeTooSkewed":
        return AccessRefused(f"{request}: {access} was refused because this machine's clock is wrong. Set it")
    if code in _REFUSED:
        grant = _GRANTS.get(request.operation, request.operation)
        return AccessRefused(
            f"{request}: refused to {access}: {code}. Check the connection's access key and secret, "
            f"and that it is granted {grant}"
        )
    if code in ABSENT:
        if request.operation.startswith("list"):
            return no_s3(access)
        return TransferFailed(
            f"s3://{request.bucket}/{request.key} is not there, or was deleted while it was read. "
            "Run the sync again: it chooses anew"
        )
    if code in CHANGED:
        return replaced(request.bucket, request.key)
    return TransferFailed(
        f"{request} through {access} failed{', also after trying again' if is_transient(fault) else ''}: "
        f"{code}: {said}"
    )


def replaced(bucket: str, key: str) -> TransferFailed:
    """The error for an object that is no longer the one that was chosen."""
    return TransferFailed(
        f"s3://{bucket}/{key} was replaced while it was read. Run the sync again: it chooses anew"
    )


def no_s3(access: Access) -> ServerUnreachable:
    """The error for an endpoint where something else answers."""
    return ServerUnreachable(
        f"What answers at {access.endpoint} is not an S3 server. "
        f"Check endpoint_url in the extra of connection {access.connection_id}"
    )
