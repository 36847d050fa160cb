"""The local AWS: MiniStack with our WorkMail emulator inside, brought up, deployed to and taken down again.

`up` and `down` are the two commands; `lifecycle` starts, finds and stops the server process; `server`, `front` and
`repairs` are what runs in it; `deploy` puts a synthesized stack on it, as on AWS, through CloudFormation.
"""
