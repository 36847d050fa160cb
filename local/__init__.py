"""The local AWS: MiniStack with the WorkMail emulator inside, and the stack deployed to it.

- `up`, `down` and `demo` are the commands.
- `lifecycle` starts, finds and stops the server process.
- `server`, `front`, `repairs`, `environments` and `workmail` run in that process.
- `deploy` deploys a synthesized stack through CloudFormation, and `readiness` waits until it works.
- `connection` and `deployment` are for clients: tests, the demo and the fault matrix.
- `in_memory` has the protocol's ports without any of that.
"""
