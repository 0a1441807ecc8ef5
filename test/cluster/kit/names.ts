/** What every pod's network belongs to; never pulled, so it has to be there before the first pod. */
export const PAUSE_IMAGE = 'test.local/pause:latest'
/** A shell and the usual commands. */
export const BUSYBOX_IMAGE = 'test.local/busybox:latest'
