/** Speaks to the service; a refusal becomes an ApiError with cause and fix. */

export class ApiError extends Error {
  /** @param {number} status @param {string} cause @param {string} hint @param {string} code */
  constructor(status, cause, hint, code) {
    super(cause);
    this.status = status;
    this.hint = hint;
    this.code = code;
  }
}

/** What to do without a session. @type {{locked:()=>void}} */
export const onLocked = { locked: () => {} };

/** @param {string} method @param {string} path @param {any} [body] @returns {Promise<any>} the decoded answer @throws {ApiError} */
export async function call(method, path, body) {
  let reply;
  try {
    reply = await fetch(path, {
      method, credentials: "same-origin", cache: "no-store", signal: method === "GET" ? AbortSignal.timeout(10_000) : null,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, "The Meshlight service does not answer.", "Is it running? Start it with “meshlight run”.", "unreachable");
  }
  const text = await reply.text();
  let data = null;
  try {
    data = text ? JSON.parse(text) : null;
  } catch {
    // Not JSON: what counts is the status below.
  }
  if (reply.ok) return data;
  if (reply.status === 401 && path !== "/mesh/session") onLocked.locked();
  const error = data?.error ?? {};
  const hint = error.hint ?? "";
  let cause = error.message ?? `The service answered ${reply.status}.`;
  // The envelope's message ends with the hint, for clients that show only one of them.
  if (hint && cause.endsWith(hint)) cause = cause.slice(0, -hint.length).trim();
  throw new ApiError(reply.status, cause, hint, error.code ?? "");
}

/** The path of one backend. @param {string} id @param {string} [verb] */
export const backendPath = (id, verb = "") => `/mesh/backends/${encodeURIComponent(id)}${verb && `/${verb}`}`;
