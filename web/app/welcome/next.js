/** What Welcome hands over to; a step of which nothing is here is left out. */

/** @type {{openTry:(()=>unknown)|null, openApps:(()=>unknown)|null, startAtLogin:(()=>Promise<unknown>)|null}} */
export const NEXT = { openTry: null, openApps: null, startAtLogin: null };
