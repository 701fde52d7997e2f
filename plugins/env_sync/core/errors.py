"""Every error that Env Sync raises: one class per meaning, its docstring is the default message.

A message says what, where and what to do next. It never holds a secret or a value of a row.
"""

from __future__ import annotations

import inspect


class EnvSyncError(Exception):
    """Something went wrong in a sync."""

    passing = False
    """True where trying again may help without anybody changing anything."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.getdoc(type(self)) or type(self).__name__)


# Configuration


class NoHieradata(EnvSyncError):
    """The folder of hieradata cannot be read; create it or set ENV_SYNC_HIERADATA."""


class UnknownEnvironment(EnvSyncError):
    """There is no such environment in hieradata."""


class UnknownSync(EnvSyncError):
    """There is no such sync in this environment."""


class InvalidRequest(EnvSyncError):
    """The run was asked for something that it cannot do; correct the trigger form and start again."""


class ConfirmationMissing(EnvSyncError):
    """A recovery sync replaces a protected database; type the database's name to confirm."""


# Connections


class ConnectionMissing(EnvSyncError):
    """Airflow has no connection for this database; add it under Admin, Connections."""


class ConnectionMalformed(EnvSyncError):
    """A connection cannot be read: its JSON, URI, extra or port is none. The message names the field."""


class WrongEnvironment(EnvSyncError):
    """The connection does not say that it belongs to this environment; add it to its extra."""


class ProtectedEnvironment(EnvSyncError):
    """A pull may not write to a protected environment."""


class AirflowUnreachable(EnvSyncError):
    """Airflow does not answer its own tasks, so that connections and pauses cannot be read."""

    passing = True


class ServerUnreachable(EnvSyncError):
    """The database server does not answer, or went away."""

    passing = True


class AccessRefused(EnvSyncError):
    """The server or the bucket refused access."""


# Store


class NoSuchBucket(EnvSyncError):
    """There is no such bucket."""


class NothingToRestore(EnvSyncError):
    """The bucket holds no dump of this database."""


class BucketOfDumps(EnvSyncError):
    """A bucket sync names a bucket of dumps; dumps are never mirrored, but pushed and pulled."""


class DeletionRefused(EnvSyncError):
    """A bucket sync would delete more than it may; nothing was deleted."""


class DumpNotThere(EnvSyncError):
    """Tonight's dump did not appear while a pull waited for it; live is untouched."""


class DumpOfAnotherEnvironment(EnvSyncError):
    """The dump's manifest names another environment than the one whose bucket it is in."""


class DumpTooSmall(EnvSyncError):
    """The dump is much smaller than the one before it; ask for it by timestamp if it is right."""


class DumpDamaged(EnvSyncError):
    """The dump is not what was pushed: its size, its checksum or its contents are wrong."""


class TransferFailed(EnvSyncError):
    """An upload or a download failed, also after trying again."""

    passing = True


class DiskFull(EnvSyncError):
    """There is not enough room in the work folder."""

    passing = True


class WorkFolderRefused(EnvSyncError):
    """The work folder is not a private folder of this user, so no dump is put there."""


# Monitors


class AlertRefused(EnvSyncError):
    """A monitor does not take the alert as it is; create its service there, or correct the setting."""


# Programs


class ToolMissing(EnvSyncError):
    """A program that this server's version needs is not installed."""


class ToolFailed(EnvSyncError):
    """An outside program failed."""

    passing = True


class Cancelled(EnvSyncError):
    """The step was cancelled; nothing of it is left running."""


# Engines


class NameRefused(EnvSyncError):
    """The database's name cannot be used."""


class NoSuchDatabase(EnvSyncError):
    """The server has no database of this name."""


class ContentRefused(EnvSyncError):
    """There is something in it that cannot be copied to another machine, or cannot be replaced."""


class RestoreFailed(EnvSyncError):
    """The dump could not be restored; live is untouched."""

    passing = True


class TransformationFailed(EnvSyncError):
    """A transformation failed; incoming was dropped and live is untouched."""


class NotSanitised(EnvSyncError):
    """Nothing says that this data is or will be sanitised; nothing was restored, uploaded or made live."""


class StampUnreadable(EnvSyncError):
    """What live says of the pull that filled it cannot be read; nothing was restored or dumped."""


class ProofMissing(EnvSyncError):
    """Incoming does not prove that it was sanitised in this run; live is untouched."""


class PromoteFailed(EnvSyncError):
    """Incoming could not be swapped with live; live is open and as it was."""

    passing = True


class NoPrevious(EnvSyncError):
    """There is no previous to make live again; live is untouched."""


class PreviousRefused(EnvSyncError):
    """Previous does not prove that it was live here, so it is not made live again; live is untouched."""


class ServerRefused(EnvSyncError):
    """The server is of a product or a version that cannot be used, or not in this direction."""


class NoSuchRepository(EnvSyncError):
    """The snapshot repository is not registered on this cluster."""


class RepositoryUnreadable(EnvSyncError):
    """The snapshot repository is registered on this cluster, but cannot be read from there."""


class SnapshotFailed(EnvSyncError):
    """A snapshot did not become whole; it is not used."""

    passing = True


class WriteBlocked(EnvSyncError):
    """The cluster or an index is read-only."""


class NoRoom(EnvSyncError):
    """The disks of the cluster are too full."""


class RequestRefused(EnvSyncError):
    """The cluster refused a request. `status` is HTTP's; `kind` is the server's word for the error."""

    def __init__(self, message: str | None = None, *, status: int = 0, kind: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class NotUnderstood(EnvSyncError, ValueError):
    """Something that was stored was written by another version of Env Sync; clear the group to start anew."""


class LeaseHeld(EnvSyncError):
    """Another sync holds the lease on this live database."""

    passing = True


class LeaseWaitOver(EnvSyncError):
    """Another sync held the lease on this live database for longer than lease_wait."""


class LeaseRefused(EnvSyncError):
    """Where the leases are kept, something is not Env Sync's own, or others may change it."""


class LeaseLost(EnvSyncError):
    """The lease on this live database lapsed and another sync took it; nothing was written."""


class PauseActive(EnvSyncError):
    """The sync was paused while it ran; live is untouched."""
