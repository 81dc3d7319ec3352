"""Texts on nodes."""


class PromptServer:
    instance: "PromptServer | None" = None

    def __init__(self) -> None:
        self.client_id = "client"
        self.texts: list[tuple[str, str]] = []

    def send_progress_text(self, text: str, node_id: str, sid: str | None = None) -> None:
        self.texts.append((node_id, text))


PromptServer.instance = PromptServer()
