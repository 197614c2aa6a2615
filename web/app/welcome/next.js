/** What Welcome hands over to; a step of which nothing is here is left out. */

/** @type {{openTry:(()=>void)|null, openApps:(()=>void)|null, startAtLogin:(()=>Promise<unknown>)|null}} */
export const NEXT = { openTry: null, openApps: null, startAtLogin: null };
