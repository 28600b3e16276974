/// <reference lib="dom" />
import { Dashboard, lost } from "./dashboard.ts";
import { byId, setText } from "./elements.ts";
import { Refused, sentenceOf, Session } from "./session.ts";

/** Under which it is told to the page, loaded anew, why it was left. */
const REASON = "cairn-signed-out-because";
const TRY_AGAIN = 3_000;

const session = new Session();
const signIn = byId("sign-in", HTMLElement);
const signOut = byId("sign-out", HTMLButtonElement);
const token = byId("token", HTMLInputElement);
const problem = byId("sign-in-problem", HTMLElement);
let dashboard: Dashboard | undefined;

session.onSignedOut = () => leave("The server does not take this token any more");
signOut.onclick = () => leave("");
byId("sign-in-form", HTMLFormElement).onsubmit = async (event) => {
  event.preventDefault();
  setText(problem, "");
  try {
    await session.signIn(token.value.trim());
    await enter();
    // The state of the contact is above it, and is to be seen, too.
    byId("content", HTMLElement).focus({ preventScroll: true });
  } catch (error) {
    const isWrong = error instanceof Refused && error.status === 401;
    setText(problem, isWrong ? "This is not the token of this server" : sentenceOf(error));
    token.select();
  }
};

if (session.isSignedIn) {
  await comeBack();
} else {
  signIn.hidden = false;
  setText(problem, sessionStorage.getItem(REASON) ?? "");
  sessionStorage.removeItem(REASON);
  token.focus();
}

async function enter(): Promise<void> {
  dashboard ??= new Dashboard(session);
  await dashboard.open();
  token.value = "";
  signIn.hidden = true;
  signOut.hidden = false;
  byId("dashboard", HTMLElement).hidden = false;
}

/** The page was loaded anew by one who has signed in. */
async function comeBack(): Promise<void> {
  while (session.isSignedIn) {
    try {
      return await enter();
    } catch {
      lost();
      await new Promise((resolve) => setTimeout(resolve, TRY_AGAIN));
    }
  }
}

/** Loads the page anew, so that nothing of the server stays on it. */
function leave(reason: string): void {
  session.signOut();
  sessionStorage.setItem(REASON, reason);
  location.reload();
}
