/**
 * Events as `text/event-stream` has them (HTML, 9.2): what EventSource of browsers reads.
 *
 *   id: 1f-3.27              where to go on from, if that has changed: sent back as Last-Event-ID
 *   event: change
 *   data: {"name":…}
 *                            an empty line ends it; one without data only moves the id
 */

export const EVENT_STREAM_TYPE = 'text/event-stream';

/** Milliseconds after which a client that has lost the stream asks again. */
const RETRY_MILLISECONDS = 1_000;

/** What goes before all events. */
export const STREAM_HEAD = `retry: ${RETRY_MILLISECONDS}\n\n`;

/** A line that says nothing. */
export const NOTHING = ':\n\n';

/** `data` and `id`: one line. */
export function serverSentEvent({ event, data, id }: { event: string; data: string; id?: string | undefined }): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${data}\n\n`;
}

/** Moves the id alone. */
export const idAlone = (id: string): string => `id: ${id}\n\n`;
