"""The pages in Ukrainian. Forms of a count: one, few (2-4), many."""

from __future__ import annotations

from collections.abc import Mapping

TEXTS: Mapping[str, str] = {
    # The frame
    "Go links": "Короткі посилання",
    "Skip to content": "Перейти до вмісту",
    "Pages": "Сторінки",
    "Missing": "Бракує",
    "Deleted": "Видалено",
    "Help": "Довідка",
    "You": "Ви",
    "Sign in": "Увійти",
    "Sign out": "Вийти",
    # A link and its form
    "Short name": "Коротка назва",
    "Leads to": "Веде до",
    "Description": "Опис",
    "Tags": "Мітки",
    "Owner": "Власник",
    "Last day": "Останній день",
    "Other names": "Інші назви",
    "Now:": "Зараз:",
    "empty": "порожньо",
    "Words, with spaces between": "Слова через пробіл",
    "Nobody: everybody may change it": "Порожньо: змінювати можуть усі",
    "Empty: for good": "Порожньо: безстроково",
    "Create": "Створити",
    "Save": "Зберегти",
    "Cancel": "Скасувати",
    "Description, tags, owner, last day": "Опис, мітки, власник, останній день",
    "New link": "Нове посилання",
    "Say where it should go": "Вкажіть, куди воно має вести",
    "The link was not saved. Please look at what is marked below.": (
        "Посилання не збережено. Перевірте, будь ласка, позначене нижче."
    ),
    "<strong>{name}</strong> exists already and leads to": "<strong>{name}</strong> вже існує й веде до",
    "Somebody has changed this link since you opened it, so nothing was saved. What stands there now is shown below "
    "each field that differs. Save again to replace it by what you typed.": (
        "Хтось змінив це посилання, відколи ви його відкрили, тому нічого не збережено. Під кожним полем, що "
        "відрізняється, показано, що там зараз. Збережіть ще раз, щоб замінити це вашим."
    ),
    "Under another name, the old one goes on leading here.": "Якщо змінити назву, стара й далі вестиме сюди.",
    "Edit {name}": "Змінити {name}",
    "Delete {name}": "Видалити {name}",
    "Whoever follows {name} after you delete it finds nothing. It can be brought back.": (
        "Після видалення {name} нікуди не вестиме. Його можна повернути."
    ),
    # What is wrong with a field
    "The name {problem}.": "Назва {problem}.",
    "The address {problem}.": "Адреса {problem}.",
    "The tags {problem}.": "Мітки: {problem}.",
    "The owner {problem}.": "Власник: {problem}.",
    "The description {problem}.": "Опис: {problem}.",
    "The last day {problem}.": "Останній день: {problem}.",
    "is missing": "не може бути порожньою",
    "must be text": "має бути текстом",
    "has more than {n} characters": "має понад {n} символів",
    "is reserved for the service itself": "зарезервована для самого сервісу",
    "must begin with a letter or digit and hold only letters, digits, hyphens, dots and underscores": (
        "має починатися з літери або цифри й містити лише літери, цифри, дефіси, крапки та підкреслення"
    ),
    "must not hold spaces, backslashes or control characters": (
        "не може містити пробілів, зворотних скісних рисок і керівних символів"
    ),
    "is not a valid address": "не є дійсною адресою",
    "must begin with http:// or https://": "має починатися з http:// або https://",
    "has no host": "не має імені сервера",
    "must not hold a user name or password": "не може містити імені користувача чи пароля",
    "must not hold {{": "не може містити {{",
    "has a host that is not valid": "має недійсне ім'я сервера",
    "must not hold control characters": "не може містити керівних символів",
    "must be a list of words": "має бути список слів",
    "are more than {n}": "понад {n}",
    "must have at most {n} characters each": "кожна має щонайбільше {n} символів",
    "must be words of letters, digits, hyphens, dots and underscores": (
        "мають бути словами з літер, цифр, дефісів, крапок і підкреслень"
    ),
    "is not a day or time that exists": "немає такого дня чи часу",
    "must be a day such as 2026-01-31 or a time such as 2026-01-31T12:00:00Z": (
        "має бути день, як-от 2026-01-31, або час, як-от 2026-01-31T12:00:00Z"
    ),
    # The first page
    "Search": "Пошук",
    "Search, or go to a name": "Шукати або перейти за назвою",
    "Go": "Перейти",
    "search": "шукати",
    "choose": "вибрати",
    "go": "перейти",
    "clear": "очистити",
    "More than {n} found|More than {n} found": "Знайдено понад {n}|Знайдено понад {n}|Знайдено понад {n}",
    "{n} found|{n} found": "Знайдено {n}|Знайдено {n}|Знайдено {n}",
    "Links": "Посилання",
    "No such links": "Таких посилань немає",
    "No links yet": "Посилань ще немає",
    "All tags, not {tag} alone": "Усі мітки, не лише {tag}",
    "All owners, not {owner} alone": "Усі власники, не лише {owner}",
    "nobody": "ніхто",
    "nobody's": "нічиї",
    "Show all": "Показати всі",
    "Chosen": "Вибрано",
    "Choose all": "Вибрати всі",
    "Choose {name}": "Вибрати {name}",
    "Name": "Назва",
    "User name": "Ім'я користувача",
    "Clicks": "Переходи",
    "Last visit": "Останній перехід",
    "never": "ніколи",
    "Actions": "Дії",
    "until {day}": "до {day}",
    "Links of {owner}": "Посилання, власник {owner}",
    "click|clicks": "перехід|переходи|переходів",
    "Details": "Докладно",
    "Details of {name}": "Докладно про {name}",
    "Edit": "Змінити",
    "Chosen:": "Вибрано:",
    "With the chosen ones:": "З вибраними:",
    "What to do with them": "Що з ними зробити",
    "Add tags": "Додати мітки",
    "Remove tags": "Прибрати мітки",
    "Set the owner": "Призначити власника",
    "Set the last day": "Призначити останній день",
    "Delete": "Видалити",
    "Tags, owner or day": "Мітки, власник або день",
    "Do it": "Виконати",
    "Nothing has all of these words in its name, address, description, tags or owner.": (
        "Немає посилання, у назві, адресі, описі, мітках чи власнику якого є всі ці слова."
    ),
    "Create {name}": "Створити {name}",
    "The first one is a name away: what do people here ask for most?": (
        "До першого — лише одна назва: про що тут питають найчастіше?"
    ),
    "There are more: another word finds fewer.": "Є ще: додайте слово, щоб звузити пошук.",
    "Pages of the list": "Сторінки списку",
    "First page": "Перша сторінка",
    "Next page": "Наступна сторінка",
    # What was just changed
    "{n} link was deleted.|{n} links were deleted.": (
        "Видалено {n} посилання.|Видалено {n} посилання.|Видалено {n} посилань."
    ),
    "{n} link was changed.|{n} links were changed.": (
        "Змінено {n} посилання.|Змінено {n} посилання.|Змінено {n} посилань."
    ),
    "<strong>{name}</strong> was deleted.": "<strong>{name}</strong> видалено.",
    "now leads to {host}.": "тепер веде до {host}.",
    "<strong>{name}</strong> is back.": "<strong>{name}</strong> повернуто.",
    "<strong>{name}</strong> was changed.": "<strong>{name}</strong> змінено.",
    "Undo": "Скасувати зміну",
    "Bring it back": "Повернути",
    "Copy": "Копіювати",
    "Copied": "Скопійовано",
    "Copy the address of {name}": "Копіювати адресу {name}",
    # One link
    "It expired on {day}: nobody is led on any more.": "Строк минув {day}: воно більше нікуди не веде.",
    "Remove": "Прибрати",
    "Remove the name {name}": "Прибрати назву {name}",
    "{n} click|{n} clicks": "{n} перехід|{n} переходи|{n} переходів",
    "{n} in the last 90 days|{n} in the last 90 days": (
        "{n} за останні 90 днів|{n} за останні 90 днів|{n} за останні 90 днів"
    ),
    "Clicks by day, the last 90 days; the numbers are in the table below": (
        "Переходи за днями, останні 90 днів; числа — у таблиці нижче"
    ),
    "As a table": "Таблицею",
    "Clicks by day": "Переходи за днями",
    "Day": "День",
    "History": "Історія",
    "Created": "Створено",
    "Imported": "Імпортовано",
    "Edited": "Змінено",
    "Renamed": "Перейменовано",
    "Brought back": "Повернуто",
    "Undone": "Скасовано зміну",
    "As before this": "Як до цього",
    "Make it as it was before the change of {moment}": "Зробити, як було до зміни {moment}",
    "Nothing is known of it: it is older than the history.": "Про нього нічого не відомо: воно старше за історію.",
    "Pages of the history": "Сторінки історії",
    "Newest changes": "Найновіші зміни",
    "Earlier changes": "Раніші зміни",
    # Where a link leads nowhere
    "No link {name} yet": "Посилання {name} ще немає",
    "<strong>{name}</strong> leads nowhere yet": "<strong>{name}</strong> поки нікуди не веде",
    "It was deleted on {day} by {author}.": "Видалено {day}, автор видалення — {author}.",
    "It was deleted on {day}.": "Видалено {day}.",
    "Names like this one:": "Схожі назви:",
    "All links": "Усі посилання",
    "{name} has expired": "Строк {name} минув",
    "It could be followed until {day}.": "Посилання діяло до {day}.",
    "It led to": "Воно вело до",
    "Go on to {name}": "Перейти до {name}",
    # Signing in, and tokens
    "Password": "Пароль",
    "You are signed in.": "Ви увійшли.",
    "Nobody can sign in yet. Whoever runs this makes the first user by": (
        "Увійти ще ніхто не може. Першого користувача створює адміністратор командою"
    ),
    "The name or the password is wrong.": "Хибне ім'я або пароль.",
    "Tokens": "Токени",
    "New token": "Новий токен",
    "Your new token, shown this once:": "Ваш новий токен, показаний лише цього разу:",
    "A program shows it instead of your password, and never may more than you:": (
        "Програма показує його замість вашого пароля й ніколи не може більше за вас:"
    ),
    "What it is for": "Для чого він",
    "Last day (none, if empty)": "Останній день (якщо порожньо — безстроково)",
    "It may": "Дозволено",
    "read": "читати",
    "change": "змінювати",
    "administer": "керувати",
    "Your tokens": "Ваші токени",
    "No tokens yet": "Токенів ще немає",
    "made {day}": "створено {day}",
    "last day {day}": "останній день {day}",
    "no last day": "безстроково",
    "used {day}": "використано {day}",
    "not used yet": "ще не використано",
    "Revoke": "Відкликати",
    "Revoke {name}": "Відкликати {name}",
    # Reports
    "Deleted links": "Видалені посилання",
    "What is brought back has its tags, its other names, its clicks and its history again.": (
        "Повернуте посилання знову матиме свої мітки, інші назви, переходи та історію."
    ),
    "deleted by {author}": "видалено, автор — {author},",
    "Bring back": "Повернути",
    "Bring {name} back": "Повернути {name}",
    "Nothing is gone.": "Нічого не видалено.",
    "Missing names": "Назви, яких бракує",
    "People asked for these, and they lead nowhere.": "За цими назвами переходили, але вони нікуди не ведуть.",
    "Most wanted first": "Спершу найбажаніші",
    "Last asked for first": "Спершу останні запити",
    "asked for {n} time|asked for {n} times": "{n} запит|{n} запити|{n} запитів",
    "Create it": "Створити",
    "Whatever was asked for was there.": "Усе, що шукали, було на місці.",
    # Import
    "Import": "Імпорт",
    "Import links": "Імпорт посилань",
    "Import these": "Імпортувати їх",
    "Check": "Перевірити",
    "File": "Файл",
    "Or lines": "Або рядки",
    "Export all links": "Експортувати всі посилання",
    "Lines of JSON, as golink or {export} here write them. First you see what would become of each line.": (
        "Рядки JSON, як їх пише golink або {export} тут. Спершу ви побачите, що станеться з кожним рядком."
    ),
    "Links that are there already": "Посилання, що вже існують",
    "leave as they are": "залишити, як є",
    "replace": "замінити",
    "There is nothing to import: choose a file, or paste lines.": (
        "Нема чого імпортувати: виберіть файл або вставте рядки."
    ),
    "What would become of each line": "Що станеться з кожним рядком",
    "new": "нове",
    "replaced": "заміна",
    "left": "без змін",
    "wrong": "хибне",
    "{n} line is wrong, so nothing is imported.|{n} lines are wrong, so nothing is imported.": (
        "Хибний {n} рядок, тому нічого не імпортується.|Хибні {n} рядки, тому нічого не імпортується.|"
        "Хибні {n} рядків, тому нічого не імпортується."
    ),
    "{n} link is new|{n} links are new": "{n} нове посилання|{n} нові посилання|{n} нових посилань",
    "{n} is replaced|{n} are replaced": "замін: {n}|замін: {n}|замін: {n}",
    "{n} was replaced|{n} were replaced": "замінено: {n}|замінено: {n}|замінено: {n}",
    "{n} is left as it is|{n} are left as they are": "без змін: {n}|без змін: {n}|без змін: {n}",
    "{n} was left as it was|{n} were left as they were": "без змін: {n}|без змін: {n}|без змін: {n}",
    "exists already": "уже існує",
    "is the same already": "уже таке саме",
    "is not JSON": "не є JSON",
    "is not a JSON object": "не є об'єктом JSON",
    # Help
    "Names": "Назви",
    "A short name leads to a long address: type it behind {host} in the address bar.": (
        "Коротка назва веде до довгої адреси: введіть її після {host} в адресному рядку."
    ),
    "A name has letters, digits, hyphens, dots and underscores, and begins with a letter or digit.": (
        "Назва складається з літер, цифр, дефісів, крапок і підкреслень та починається з літери або цифри."
    ),
    "Case and hyphens make no difference, and punctuation that a chat has glued to the end is left out.": (
        "Регістр і дефіси не мають значення, а розділові знаки, що їх чат приклеїв у кінці, відкидаються."
    ),
    "A renamed link goes on answering to its old name.": "Перейменоване посилання й далі діє під старою назвою.",
    "A name that leads nowhere shows the form to create it.": (
        "Назва, що нікуди не веде, відкриває форму, щоб її створити."
    ),
    "Paths": "Шляхи",
    "the rest of the path is put behind the target's": "решта шляху додається до шляху цілі",
    "the query is added to the target's": "запит додається до запиту цілі",
    "shows the link instead of following it": "показує посилання, а не переходить за ним",
    "Targets that are templates": "Цілі-шаблони",
    "A target may say where the rest of the path goes:": "Ціль може вказати, куди подіти решту шляху:",
    "the rest of the path as a value of a query": "решта шляху як значення в запиті",
    "the rest of the path as one part of a path": "решта шляху як одна частина шляху",
    "one address with a path and another without": "одна адреса зі шляхом і інша без нього",
    "whoever follows the link, where people sign in": "хто переходить за посиланням — там, де входять з іменем",
    "today": "сьогодні",
    "only where the path is a number": "лише коли шлях — число",
    "Functions:": "Функції:",
    "Finds links that have all of the words in their name, address, description, tags or owner, also in the middle of "
    "a word. The best comes first: the very name, names that begin with it, then what is followed most.": (
        "Знаходить посилання, що мають усі слова в назві, адресі, описі, мітках чи власнику, навіть усередині слова. "
        "Найкраще — першим: сама назва, назви, що з неї починаються, далі — за кількістю переходів."
    ),
    "A tag or an owner in the list narrows it down.": "Мітка чи власник у списку звужують його.",
    "Keyboard": "Клавіатура",
    "to the search": "до пошуку",
    "choose one of what was found": "вибрати одне зі знайденого",
    "go to the chosen link, or to the name that was typed": "перейти за вибраним посиланням або за введеною назвою",
    "clear the search": "очистити пошук",
    "In the browser": "У браузері",
    "Drag this to the bookmarks bar; on any page, it opens the form with that page's address:": (
        "Перетягніть це на панель закладок; на будь-якій сторінці воно відкриє форму з її адресою:"
    ),
    "New go link": "Коротке посилання",
    "For the address bar, add a search engine in the browser's settings with this address; {mark} stands for what is "
    "typed:": (
        "Для адресного рядка додайте в налаштуваннях браузера пошукову систему з цією адресою; {mark} — це те, що "
        "введено:"
    ),
    "Firefox offers it by itself in the address bar's menu.": "Firefox сам пропонує це в меню адресного рядка.",
    "API": "API",
    "creates a link from JSON: name and url, and description, tags, owner, expires": (
        "створює посилання з JSON: name і url, а також description, tags, owner, expires"
    ),
    "lists or searches": "показує список або шукає",
    "reads, changes or deletes one": "читає, змінює або видаляє одне",
    "Follow a go link by its name, or search for one": "Перейти за коротким посиланням або знайти його",
    # Errors
    "Request": "Запит",
    "There is no such link.": "Такого посилання немає.",
    "There is no such name.": "Такої назви немає.",
    "There is no such change.": "Такої зміни немає.",
    "There is no such page of the list.": "Такої сторінки списку немає.",
    "The list can't be sorted like that.": "Так список не впорядкувати.",
    "{name} is no link any more, so nothing was changed.": "{name} вже не є посиланням, тому нічого не змінено.",
    "Say what is to be done with these links.": "Вкажіть, що зробити з цими посиланнями.",
    "No links were chosen: tick some in the list first.": "Нічого не вибрано: спершу позначте посилання у списку.",
    "These are too many links at once.": "Це забагато посилань за один раз.",
    "Nothing was changed: the value {problem}": "Нічого не змінено: значення {problem}",
    "{name} is the name of another link by now: give that one another name first.": (
        "Назву {name} вже має інше посилання: спершу дайте йому іншу."
    ),
    "This would lead in a circle by now, so nothing was undone.": (
        "Тепер це вело б по колу, тому нічого не скасовано."
    ),
    "Some of these links were changed since, so nothing was undone.": (
        "Деякі з цих посилань відтоді змінено, тому нічого не скасовано."
    ),
    "This change was asked for by another site's page, so it was not made.": (
        "Цю зміну надіслала сторінка іншого сайту, тому її не зроблено."
    ),
    "Links can only be followed and read at the moment, so nothing was changed.": (
        "Зараз посилання можна лише читати й переходити за ними, тому нічого не змінено."
    ),
    "The service can't reach its data at the moment. Please try again in a few seconds.": (
        "Сервіс зараз не має доступу до своїх даних. Спробуйте, будь ласка, за кілька секунд."
    ),
    "The request failed.": "Запит не вдався.",
    "Bad Request": "Хибний запит",
    "Unauthorized": "Потрібно увійти",
    "Forbidden": "Заборонено",
    "Not Found": "Не знайдено",
    "Method Not Allowed": "Так не можна",
    "Conflict": "Суперечність",
    "Gone": "Більше немає",
    "Request Entity Too Large": "Забагато даних",
    "Unprocessable Entity": "Не можна використати",
    "Too Many Requests": "Забагато запитів",
    "Internal Server Error": "Внутрішня помилка",
    "Service Unavailable": "Сервіс недоступний",
    # Times
    "just now": "щойно",
    "{n} minute ago|{n} minutes ago": "{n} хвилину тому|{n} хвилини тому|{n} хвилин тому",
    "{n} hour ago|{n} hours ago": "{n} годину тому|{n} години тому|{n} годин тому",
    "{n} day ago|{n} days ago": "{n} день тому|{n} дні тому|{n} днів тому",
}
