/** An answer as it comes: text, reasoning, pace. It knows no page. */
import { UNSEEN } from "../core/format.js";

/** Characters of an answer that are kept; then it is stopped. */
export const ANSWER_MAX = 4_000_000;
const [OPEN, CLOSE] = ["<think>", "</think>"];

/** How much of the end of a text may be the beginning of a mark. @param {string} text @param {string} mark */
function partOf(text, mark) {
  for (let n = Math.min(text.length, mark.length - 1); n; n--) if (mark.startsWith(text.slice(-n))) return n;
  return 0;
}

export class Answer {
  /** @param {()=>number} now milliseconds */
  constructor(now) {
    this.now = now;
    this.startedAt = now();
    this.text = this.reasoning = this.error = this.finish = "";
    this.firstMs = /** @type {number|null} */ (null);
    this.lastAt = this.pieces = this.counted = 0;
    this.isComplete = this.isThinking = this.isWaiting = false;
    this.line = this.held = "";
  }

  /** Whether more than is kept has come. */
  get isTooLong() {
    return this.text.length + this.reasoning.length + this.line.length > ANSWER_MAX;
  }

  /** How many tokens, how many after the first in a second (null: they came at once), and whether pieces were counted. */
  get pace() {
    const tokens = this.counted || this.pieces;
    const spread = this.lastAt - this.startedAt - (this.firstMs ?? 0);
    const perSecond = tokens > 1 && spread > 20 ? ((tokens - 1) * 1000) / spread : null;
    return { tokens, perSecond, isEstimated: !this.counted };
  }

  /** A part of a stream of events. @param {string} part */
  feed(part) {
    const lines = (this.line + part).split("\n");
    this.line = lines.pop() ?? "";
    for (const line of lines) {
      if (line.startsWith(": waiting")) this.isWaiting = true;
      if (!line.startsWith("data:")) continue;
      const data = line.slice(5).trim();
      if (data === "[DONE]") this.isComplete = true;
      else this.take(data);
    }
  }

  /** One event, or a whole answer. @param {string} data */
  take(data) {
    /** @type {any} */
    let sent;
    try {
      sent = JSON.parse(data);
    } catch {
      return; // No event of a chat.
    }
    if (sent?.error) this.error = String(sent.error.message ?? sent.error);
    if (sent?.usage?.completion_tokens) this.counted = Number(sent.usage.completion_tokens) || 0;
    const choice = sent?.choices?.[0];
    if (choice?.finish_reason) {
      this.finish = String(choice.finish_reason);
      this.isComplete = true;
    }
    const { content, reasoning_content, reasoning } = choice?.delta ?? choice?.message ?? {};
    const thought = reasoning_content ?? reasoning;
    const isText = typeof content === "string" && content;
    if (!isText && !(typeof thought === "string" && thought)) return;
    this.lastAt = this.now();
    this.firstMs ??= this.lastAt - this.startedAt;
    this.pieces += 1;
    this.isWaiting = false;
    if (typeof thought === "string") this.reasoning += thought.replace(UNSEEN, "");
    if (isText) this.say(content.replace(UNSEEN, ""));
  }

  /** A text that may begin with reasoning between marks. @param {string} piece */
  say(piece) {
    let text = this.held + piece;
    this.held = "";
    if (!this.text && !this.isThinking) {
      const begun = text.trimStart();
      if (begun.startsWith(OPEN)) {
        this.isThinking = true;
        text = begun.slice(OPEN.length);
      } else if (OPEN.startsWith(begun)) return void (this.held = text);
    }
    if (this.isThinking) {
      const end = text.indexOf(CLOSE);
      const stop = end < 0 ? text.length - partOf(text, CLOSE) : end;
      this.reasoning += text.slice(0, stop);
      if (end < 0) return void (this.held = text.slice(stop));
      this.isThinking = false;
      text = text.slice(end + CLOSE.length).trimStart();
    }
    this.text += this.text ? text : text.trimStart();
  }

  /** Nothing more comes. */
  end() {
    if (this.line) this.feed("\n");
    if (this.isThinking) this.reasoning += this.held;
    else this.text += this.held;
    this.held = "";
  }
}
