/** One answer on the page: as it comes, and at its end who gave it and how fast. */
import { announce, copyText, fromTemplate, pick, setText, setTextWithCode } from "../chrome/dom.js";
import { displayName, formatCount, formatMs, joined, plural } from "../core/format.js";
import { SHOWN_MAX, markdownView } from "./markdown.js";

/** @param {HTMLElement} log @param {import("./answer.js").Answer} answer @param {string} asked the model @param {(id:string)=>string} nameOf a backend */
export function answerTurn(log, answer, asked, nameOf) {
  const turn = fromTemplate("try-turn");
  const [thoughts, body, waits, problem, meta, copy] = pick(
    turn,
    ".thoughts .answer .waits .problem .meta .copy",
  );
  const view = markdownView(body);
  copy.onclick = () => copyText(answer.text, copy);
  log.append(turn);
  let timer = 0;
  let pause = 50;
  /** Draw, and keep the newest in sight where it was. @param {string} [text] @param {()=>void} [more] */
  const draw = (text, more) => {
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    const begun = performance.now();
    timer = 0;
    thoughts.hidden = !answer.reasoning;
    setText(thoughts.lastElementChild, answer.reasoning.slice(-SHOWN_MAX));
    view(answer.text);
    const what = answer.isWaiting ? "a free slot" : "the first word";
    setText(waits, text ?? (answer.text ? "" : answer.reasoning ? "Thinking …" : `Waiting for ${what} …`));
    more?.();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
    // Drawing takes an eighth of the time at most.
    pause = Math.max(50, 8 * (performance.now() - begun));
  };
  draw();
  log.scrollTop = log.scrollHeight;
  return {
    changed: () => void (timer ||= window.setTimeout(draw, pause)),
    /** @param {Headers|undefined} headers @param {string} error @param {string} note */
    end(headers, error, note) {
      clearTimeout(timer);
      const read = (/** @type {string} */ name) => {
        const text = headers?.get(`x-meshlight-${name}`);
        return text && displayName(text);
      };
      const backend = read("backend");
      const attempts = Number(read("attempts"));
      const { pace, firstMs } = answer;
      const about = pace.isEstimated ? "about " : "";
      const who = backend ? `${nameOf(backend)} answered` : "";
      draw(note, () => {
        setTextWithCode(problem, error);
        setText(
          meta,
          joined(
            !error && who,
            read("model") && read("model") !== asked && `with ${read("model")}`,
            read("fallback"),
            attempts > 1 && `after ${attempts} attempts`,
            read("why"),
            firstMs !== null && `first token after ${formatMs(firstMs)}`,
            firstMs !== null && about + plural(pace.tokens, "token"),
            pace.perSecond !== null && `${about}${formatCount(Math.round(pace.perSecond))} tokens/s`,
            firstMs !== null && about && "estimated",
          ),
        );
        copy.hidden = !answer.text;
      });
      announce(error || note || `${who || "Answered"}.`);
    },
  };
}
