"""Refusals in Ukrainian. `{n}` is a number, `{problem}` a text of this or the other table, others stay as they are."""

from __future__ import annotations

from collections.abc import Mapping

PROBLEMS: Mapping[str, str] = {
    # A link and its target
    "must begin with {schemes}": "має починатися з {schemes}",
    "must not hold control characters, nor spaces of another kind": (
        "не може містити керівних символів і незвичайних пробілів"
    ),
    "has a template that can't be used: {problem}": "має шаблон, який не можна використати: {problem}",
    "has a template that leads nowhere: {problem}": "має шаблон, що нікуди не веде: {problem}",
    "leads in a circle: {names}": "веде по колу: {names}",
    "leads through more than {n} links: {names}": "веде через понад {n} посилань: {names}",
    "This link {problem}. One of them must lead somewhere else.": (
        "Це посилання {problem}. Одне з них має вести деінде."
    ),
    "The link {name} expired on {day}. Whoever needs it can give it a later day.": (
        "Строк посилання {name} минув {day}. Хто його потребує, може призначити пізніший день."
    ),
    "The target of this link {problem}.": "Ціль цього посилання {problem}.",
    "The target of this link can't be read: {problem}.": "Ціль цього посилання не можна прочитати: {problem}.",
    "The target of this link holds control characters for this path.": (
        "Ціль цього посилання для цього шляху містить керівні символи."
    ),
    "The target of this link is no valid address for this path.": (
        "Ціль цього посилання для цього шляху не є дійсною адресою."
    ),
    "The target of this link must begin with {schemes}.": "Ціль цього посилання має починатися з {schemes}.",
    "The target of this link has no valid host for this path.": (
        "Ціль цього посилання для цього шляху не має дійсного імені сервера."
    ),
    # Who may do what
    "Please sign in: this is not for everybody.": "Увійдіть, будь ласка: це не для всіх.",
    "This token is not valid: it was revoked, has expired or never was one.": (
        "Цей токен не діє: його відкликано, його строк минув або такого ніколи не було."
    ),
    "This token does not allow this: it needs {scope}.": "Цей токен цього не дозволяє: потрібно {scope}.",
    "Your role does not allow this: it needs {scope}.": "Ваша роль цього не дозволяє: потрібно {scope}.",
    "This link belongs to {owner}: only they or an admin can change it.": (
        "Власник цього посилання — {owner}: змінити його може лише власник або адміністратор."
    ),
    "Everybody may do everything here (AUTH=open), so there are no tokens.": (
        "Тут усім дозволено все (AUTH=open), тому токенів немає."
    ),
    "There is no such token.": "Такого токена немає.",
    "Nobody signs in here.": "Тут ніхто не входить.",
    "Many people are signing in. Please try again in a moment.": (
        "Зараз входить багато людей. Спробуйте, будь ласка, за мить."
    ),
    "There were too many attempts. Please try again in {n} seconds.": (
        "Забагато спроб. Спробуйте, будь ласка, ще раз через {n} с."
    ),
    "There were too many attempts. Please try again in {n} minutes.": (
        "Забагато спроб. Спробуйте, будь ласка, ще раз через {n} хв."
    ),
    "A token needs a label of up to {n} characters that says what it is for.": (
        "Токену потрібен підпис, не довший за {n} символів: для чого він."
    ),
    "A token needs at least one of the scopes {scopes}.": "Токену потрібен хоч один із дозволів {scopes}.",
    "A token's last day must be in the future.": "Останній день токена має бути в майбутньому.",
    "There are {n} tokens already: revoke one that is not needed any more.": (
        "Токенів уже {n}: відкличте той, що більше не потрібен."
    ),
    "The last day must be a date such as 2027-01-31.": "Останній день має бути датою, як-от 2027-01-31.",
    "You can't give {scopes}: you have it not yourself.": "Ви не можете дати {scopes}: ви самі цього не маєте.",
    # What a template does with a path
    "depends on who follows the link, and you are not signed in": (
        "залежить від того, хто переходить за посиланням, а ви не ввійшли"
    ),
    "must not have such a host": "не може мати такого імені сервера",
    "becomes longer than {n} characters": "стає довшою за {n} символів",
    "prints the whole page where one value of it is meant, such as {{.Path}}": (
        "виводить усю сторінку там, де потрібне одне її значення, як-от {{.Path}}"
    ),
    "gives {function} something else than text": "дає {function} не текст",
    "has a time that is out of range": "має час поза межами можливого",
    "compares {left} with {right}": "порівнює {left} з {right}",
    "has a regular expression with (? ... that is not supported (no look-around)": (
        "має регулярний вираз із (? ..., що не підтримується"
    ),
    "has a regular expression that ends with a backslash": (
        "має регулярний вираз, що закінчується зворотною скісною рискою"
    ),
    "has a regular expression with {text}, which is not supported": (
        "має регулярний вираз із {text}, що не підтримується"
    ),
    "has a regular expression that repeats more than {n} times": ("має регулярний вираз, що повторює понад {n} разів"),
    "has a regular expression of more than {n} characters": "має регулярний вираз, довший за {n} символів",
    "has a regular expression that can't be read: {error}": "має регулярний вираз, який не можна прочитати: {error}",
    "has a regular expression that takes too long for this path": (
        "має регулярний вираз, що для цього шляху триває задовго"
    ),
    # A line of an import
    "is not known": "невідоме",
    "must be a time such as 2026-01-31T12:00:00Z": "має бути часом, як-от 2026-01-31T12:00:00Z",
    "must be a whole number": "має бути цілим числом",
    "must be a list of names": "має бути списком назв",
    "there are more than {n}; import the others apart": "рядків понад {n}; імпортуйте решту окремо",
    "has more than {n} bytes": "має понад {n} байтів",
    "{name} is in line {n}, too": "{name} є також у рядку {n}",
    "is another name of {name}": "є іншою назвою посилання {name}",
    "belongs to {owner}": "має власника {owner}",
    "its other name {alias} leads to {name} already": "його інша назва {alias} уже веде до {name}",
    # What the server says by itself
    "The browser (or proxy) sent a request that this server could not understand.": (
        "Сервер не зрозумів запиту браузера (або проксі)."
    ),
    "The requested URL was not found on the server. If you entered the URL manually please check your spelling and try "
    "again.": "Такої сторінки немає. Якщо ви ввели адресу вручну, перевірте її, будь ласка.",
    "The method is not allowed for the requested URL.": "Для цієї адреси так не можна.",
    "The data value transmitted exceeds the capacity limit.": "Надіслано забагато даних.",
    "The server encountered an internal error and was unable to complete your request. Either the server is overloaded "
    "or there is an error in the application.": "На сервері сталася помилка, тому запит не виконано.",
}
