/** Calls to the service; a refusal is an ApiError. */

export class ApiError extends Error {
  /** @param {number} status @param {string} message @param {string} hint @param {string} code @param {string} [param] */
  constructor(status, message, hint, code, param) {
    super(message);
    this.status = status;
    this.hint = hint;
    this.code = code;
    this.param = param;
  }
}

/** What went wrong, and the fix if there is one. @param {unknown} error */
export const errorText = (error) =>
  error instanceof ApiError ? `${error.message} ${error.hint}`.trim() : String(error);

/** @type {{locked:()=>void}} */
export const onLocked = { locked: () => {} };

/** Asks where a key may be kept that could not be; whether it can be tried again. @type {{ask:()=>Promise<boolean>}} */
export const onNoKeyring = { ask: async () => false };

/** @param {string} method @param {string} path @param {any} [body] @returns {Promise<any>} the decoded answer @throws {ApiError} */
export async function callApi(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      credentials: "same-origin",
      cache: "no-store",
      signal: method === "GET" ? AbortSignal.timeout(10_000) : null,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(
      0,
      "The Meshlight service does not answer.",
      "Is it running? Start it with “meshlight”.",
      "unreachable",
    );
  }
  const text = await response.text();
  let data = null;
  try {
    data = text ? JSON.parse(text) : null;
  } catch {
    // Not JSON: what counts is the status below.
  }
  if (response.ok) return data;
  if (response.status === 401 && path !== "/mesh/session") onLocked.locked();
  const refusal = refusalOf(response.status, data);
  if (refusal.code === "secret" && body?.api_key && (await onNoKeyring.ask()))
    return callApi(method, path, body);
  throw refusal;
}

/** @param {number} status @param {any} data what was answered, decoded */
export function refusalOf(status, data) {
  const error = data?.error ?? {};
  const hint = error.hint ?? "";
  let message = error.message ?? `The service answered ${status}.`;
  // The envelope's message ends with the hint, for clients that show only one of them.
  if (hint && message.endsWith(hint)) message = message.slice(0, -hint.length).trim();
  return new ApiError(status, message, hint, error.code ?? "", error.param ?? "");
}

/** @param {string} id @param {string} [verb] */
export const backendPath = (id, verb = "") => `/mesh/backends/${encodeURIComponent(id)}${verb && `/${verb}`}`;
