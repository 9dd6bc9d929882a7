//! The statements with which each system makes its table.

use super::OldKind;
use crate::harness::Backend;

impl OldKind {
    /// The statements that make its table.
    pub(super) fn statements(self, backend: Backend) -> Vec<String> {
        let statements: &[&str] = match (self, backend) {
            (Self::Prisma, Backend::Postgres) => &[
                PRISMA_MIGRATIONS,
                r#"CREATE TYPE "LinkPrecedence" AS ENUM ('primary', 'secondary')"#,
                r#"CREATE TABLE "Contact" (
                    "id" SERIAL NOT NULL,
                    "phoneNumber" TEXT,
                    "email" TEXT,
                    "linkedId" INTEGER,
                    "linkPrecedence" "LinkPrecedence" NOT NULL,
                    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
                    "updatedAt" TIMESTAMP(3) NOT NULL,
                    "deletedAt" TIMESTAMP(3),
                    CONSTRAINT "Contact_pkey" PRIMARY KEY ("id"))"#,
            ],
            (Self::PrismaUnique, Backend::Postgres) => &[
                r#"CREATE TABLE "Contact" (
                    "id" SERIAL NOT NULL,
                    "phoneNumber" TEXT,
                    "email" TEXT,
                    "linkedId" INTEGER,
                    "linkPrecedence" TEXT NOT NULL,
                    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
                    "updatedAt" TIMESTAMP(3) NOT NULL,
                    "deletedAt" TIMESTAMP(3),
                    CONSTRAINT "Contact_pkey" PRIMARY KEY ("id"))"#,
                r#"CREATE UNIQUE INDEX "Contact_phoneNumber_key" ON "Contact"("phoneNumber")"#,
                r#"CREATE UNIQUE INDEX "Contact_email_key" ON "Contact"("email")"#,
            ],
            (Self::Prisma, Backend::Mariadb | Backend::Mysql) => &[
                PRISMA_MIGRATIONS_MYSQL,
                "CREATE TABLE `Contact` (
                    `id` INTEGER NOT NULL AUTO_INCREMENT,
                    `phoneNumber` VARCHAR(191) NULL,
                    `email` VARCHAR(191) NULL,
                    `linkedId` INTEGER NULL,
                    `linkPrecedence` ENUM('primary', 'secondary') NOT NULL,
                    `createdAt` DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
                    `updatedAt` DATETIME(3) NOT NULL,
                    `deletedAt` DATETIME(3) NULL,
                    PRIMARY KEY (`id`)
                ) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
            ],
            (Self::PrismaUnique, Backend::Mariadb | Backend::Mysql) => &["CREATE TABLE `Contact` (
                    `id` INTEGER NOT NULL AUTO_INCREMENT,
                    `phoneNumber` VARCHAR(191) NULL,
                    `email` VARCHAR(191) NULL,
                    `linkedId` INTEGER NULL,
                    `linkPrecedence` VARCHAR(191) NOT NULL,
                    `createdAt` DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
                    `updatedAt` DATETIME(3) NOT NULL,
                    `deletedAt` DATETIME(3) NULL,
                    UNIQUE INDEX `Contact_phoneNumber_key`(`phoneNumber`),
                    UNIQUE INDEX `Contact_email_key`(`email`),
                    PRIMARY KEY (`id`)
                ) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"],
            (Self::Prisma, Backend::Sqlite) => &[
                PRISMA_MIGRATIONS,
                r#"CREATE TABLE "Contact" (
                    "id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
                    "phoneNumber" TEXT,
                    "email" TEXT,
                    "linkedId" INTEGER,
                    "linkPrecedence" TEXT NOT NULL,
                    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
                    "updatedAt" DATETIME NOT NULL,
                    "deletedAt" DATETIME)"#,
            ],
            (Self::PrismaUnique, Backend::Sqlite) => &[
                r#"CREATE TABLE "Contact" (
                    "id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
                    "phoneNumber" TEXT,
                    "email" TEXT,
                    "linkedId" INTEGER,
                    "linkPrecedence" TEXT NOT NULL,
                    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
                    "updatedAt" DATETIME NOT NULL,
                    "deletedAt" DATETIME)"#,
                r#"CREATE UNIQUE INDEX "Contact_phoneNumber_key" ON "Contact"("phoneNumber")"#,
                r#"CREATE UNIQUE INDEX "Contact_email_key" ON "Contact"("email")"#,
            ],
            (Self::Plain, _) => &["CREATE TABLE Contact (
                    id INT AUTO_INCREMENT PRIMARY KEY,
                    phoneNumber VARCHAR(255),
                    email VARCHAR(255),
                    linkedId INT,
                    linkPrecedence ENUM('primary', 'secondary') NOT NULL,
                    createdAt TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP,
                    updatedAt TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
                    deletedAt TIMESTAMP NULL)"],
            (Self::TypeOrm, Backend::Postgres) => &[
                r#"CREATE TYPE "public"."contact_linkprecedence_enum" AS ENUM('primary', 'secondary')"#,
                r#"CREATE TABLE "contact" ("id" SERIAL NOT NULL, "phoneNumber" character varying,
                    "email" character varying, "linkedId" integer,
                    "linkPrecedence" "public"."contact_linkprecedence_enum" NOT NULL DEFAULT 'primary',
                    "createdAt" TIMESTAMP NOT NULL DEFAULT now(), "updatedAt" TIMESTAMP NOT NULL DEFAULT now(),
                    "deletedAt" TIMESTAMP,
                    CONSTRAINT "PK_2cbbe00f59ab6b3bb5b8d19f989" PRIMARY KEY ("id"))"#,
            ],
            (Self::TypeOrm, _) => {
                &[r#"CREATE TABLE "contact" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "phoneNumber" varchar,
                    "email" varchar, "linkedId" integer,
                    "linkPrecedence" varchar CHECK( "linkPrecedence" IN ('primary','secondary') ) NOT NULL
                    DEFAULT ('primary'), "createdAt" datetime NOT NULL DEFAULT (datetime('now')),
                    "updatedAt" datetime NOT NULL DEFAULT (datetime('now')), "deletedAt" datetime)"#]
            }
            (Self::Sequelize, Backend::Postgres) => &[
                r#"CREATE TYPE "public"."enum_Contacts_linkPrecedence" AS ENUM('primary', 'secondary')"#,
                r#"CREATE TABLE IF NOT EXISTS "Contacts" ("id"   SERIAL , "phoneNumber" VARCHAR(255),
                    "email" VARCHAR(255), "linkedId" INTEGER,
                    "linkPrecedence" "public"."enum_Contacts_linkPrecedence" NOT NULL,
                    "createdAt" TIMESTAMP WITH TIME ZONE NOT NULL, "updatedAt" TIMESTAMP WITH TIME ZONE NOT NULL,
                    "deletedAt" TIMESTAMP WITH TIME ZONE, PRIMARY KEY ("id"))"#,
            ],
            (Self::Sequelize, Backend::Sqlite) => &["CREATE TABLE IF NOT EXISTS `Contacts` (
                    `id` INTEGER PRIMARY KEY AUTOINCREMENT, `phoneNumber` VARCHAR(255), `email` VARCHAR(255),
                    `linkedId` INTEGER, `linkPrecedence` TEXT NOT NULL, `createdAt` DATETIME NOT NULL,
                    `updatedAt` DATETIME NOT NULL, `deletedAt` DATETIME)"],
            (Self::Sequelize, _) => &[
                "CREATE TABLE IF NOT EXISTS `SequelizeMeta` (`name` VARCHAR(255) NOT NULL, UNIQUE (`name`),
                    PRIMARY KEY (`name`))",
                "CREATE TABLE IF NOT EXISTS `Contacts` (`id` INTEGER auto_increment , `phoneNumber` VARCHAR(255),
                    `email` VARCHAR(255), `linkedId` INTEGER, `linkPrecedence` ENUM('primary', 'secondary') NOT NULL,
                    `createdAt` DATETIME NOT NULL, `updatedAt` DATETIME NOT NULL, `deletedAt` DATETIME,
                    PRIMARY KEY (`id`)) ENGINE=InnoDB",
            ],
            (Self::Django, Backend::Postgres) => &[
                r#"CREATE TABLE "contacts" ("id" bigint NOT NULL PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY,
                    "email" varchar(254) NULL, "phone_number" varchar(32) NULL, "link_precedence" varchar(10) NOT NULL,
                    "created_at" timestamp with time zone NOT NULL, "updated_at" timestamp with time zone NOT NULL,
                    "deleted_at" timestamp with time zone NULL, "linked_id" bigint NULL)"#,
                r#"ALTER TABLE "contacts" ADD CONSTRAINT "contacts_linked_id_8a9f_fk_contacts_id"
                    FOREIGN KEY ("linked_id") REFERENCES "contacts" ("id") DEFERRABLE INITIALLY DEFERRED"#,
            ],
            (Self::Django, Backend::Mariadb | Backend::Mysql) => &[
                "CREATE TABLE `contacts` (`id` bigint AUTO_INCREMENT NOT NULL PRIMARY KEY, `email` varchar(254) NULL,
                    `phone_number` varchar(32) NULL, `link_precedence` varchar(10) NOT NULL,
                    `created_at` datetime(6) NOT NULL, `updated_at` datetime(6) NOT NULL,
                    `deleted_at` datetime(6) NULL, `linked_id` bigint NULL)",
                "ALTER TABLE `contacts` ADD CONSTRAINT `contacts_linked_id_8a9f_fk_contacts_id`
                    FOREIGN KEY (`linked_id`) REFERENCES `contacts` (`id`)",
            ],
            (Self::Django, _) => &[r#"CREATE TABLE "contacts" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
                    "email" varchar(254) NULL, "phone_number" varchar(32) NULL, "link_precedence" varchar(10) NOT NULL,
                    "created_at" datetime NOT NULL, "updated_at" datetime NOT NULL, "deleted_at" datetime NULL,
                    "linked_id" bigint NULL REFERENCES "contacts" ("id") DEFERRABLE INITIALLY DEFERRED)"#],
            (Self::Rails, Backend::Postgres) => &[RAILS_METADATA, RAILS_POSTGRES],
            (Self::Rails, Backend::Sqlite) => &[RAILS_METADATA, RAILS_SQLITE],
            (Self::Rails, _) => &[
                "CREATE TABLE `ar_internal_metadata` (`key` varchar(255) NOT NULL PRIMARY KEY, `value` varchar(255),
                    `created_at` datetime(6) NOT NULL, `updated_at` datetime(6) NOT NULL)",
                "CREATE TABLE `contacts` (`id` bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, `email` varchar(255),
                    `phone_number` varchar(255), `linked_id` bigint, `link_precedence` varchar(255) DEFAULT 'primary',
                    `deleted_at` datetime(6), `created_at` datetime(6) NOT NULL, `updated_at` datetime(6) NOT NULL)",
            ],
            (Self::Gorm, Backend::Postgres) => &[
                r#"CREATE TABLE "contacts" ("id" bigserial,"created_at" timestamptz,"updated_at" timestamptz,
                    "deleted_at" timestamptz,"email" text,"phone_number" text,"linked_id" bigint,
                    "link_precedence" text,PRIMARY KEY ("id"))"#,
                r#"CREATE INDEX IF NOT EXISTS "idx_contacts_deleted_at" ON "contacts" ("deleted_at")"#,
            ],
            (Self::Gorm, Backend::Sqlite) => &["CREATE TABLE `contacts` (`id` integer PRIMARY KEY AUTOINCREMENT,
                    `created_at` datetime,`updated_at` datetime,`deleted_at` datetime,`email` text,
                    `phone_number` text,`linked_id` integer,`link_precedence` text)"],
            (Self::Gorm, _) => &["CREATE TABLE `contacts` (`id` bigint unsigned AUTO_INCREMENT,
                    `created_at` datetime(3) NULL,`updated_at` datetime(3) NULL,`deleted_at` datetime(3) NULL,
                    `email` longtext,`phone_number` longtext,`linked_id` bigint unsigned,
                    `link_precedence` longtext,PRIMARY KEY (`id`),INDEX `idx_contacts_deleted_at` (`deleted_at`))"],
            (Self::SqlAlchemy, Backend::Postgres) => &["CREATE TABLE contacts (
                    id SERIAL NOT NULL, phone_number VARCHAR, email VARCHAR, linked_id INTEGER,
                    link_precedence VARCHAR, created_at TIMESTAMP WITHOUT TIME ZONE,
                    updated_at TIMESTAMP WITHOUT TIME ZONE, deleted_at TIMESTAMP WITHOUT TIME ZONE, PRIMARY KEY (id))"],
            (Self::SqlAlchemy, Backend::Mariadb | Backend::Mysql) => &["CREATE TABLE contacts (
                    id INTEGER NOT NULL AUTO_INCREMENT, phone_number VARCHAR(255), email VARCHAR(255),
                    linked_id INTEGER, link_precedence VARCHAR(20), created_at DATETIME, updated_at DATETIME,
                    deleted_at DATETIME, PRIMARY KEY (id))"],
            (Self::SqlAlchemy, _) => &["CREATE TABLE contacts (
                    id INTEGER NOT NULL, phone_number VARCHAR, email VARCHAR, linked_id INTEGER,
                    link_precedence VARCHAR, created_at DATETIME, updated_at DATETIME, deleted_at DATETIME,
                    PRIMARY KEY (id))"],
            (Self::Sqlx, Backend::Postgres) => &[
                SQLX_MIGRATIONS,
                "CREATE TABLE contacts (
                    id BIGSERIAL PRIMARY KEY, phone_number TEXT, email TEXT, linked_id BIGINT,
                    link_precedence TEXT NOT NULL CHECK (link_precedence IN ('primary', 'secondary')),
                    created_at TIMESTAMPTZ NOT NULL DEFAULT now(), updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
                    deleted_at TIMESTAMPTZ)",
            ],
            (Self::Sqlx, Backend::Sqlite) => &[
                SQLX_MIGRATIONS,
                "CREATE TABLE contacts (
                    id INTEGER PRIMARY KEY AUTOINCREMENT, phone_number TEXT, email TEXT, linked_id INTEGER,
                    link_precedence TEXT NOT NULL CHECK (link_precedence IN ('primary', 'secondary')),
                    created_at TEXT NOT NULL, updated_at TEXT NOT NULL, deleted_at TEXT)",
            ],
            (Self::Sqlx, _) => &[
                SQLX_MIGRATIONS,
                "CREATE TABLE contacts (
                    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, phone_number VARCHAR(64), email VARCHAR(255),
                    linked_id BIGINT, link_precedence VARCHAR(16) NOT NULL,
                    created_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
                    updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), deleted_at TIMESTAMP(6) NULL)",
            ],
        };
        statements.iter().map(|sql| (*sql).to_owned()).collect()
    }
}

const SQLX_MIGRATIONS: &str = "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL,
    success BOOLEAN NOT NULL, execution_time BIGINT NOT NULL)";

const PRISMA_MIGRATIONS: &str = r#"CREATE TABLE "_prisma_migrations" (
    "id" VARCHAR(36) PRIMARY KEY NOT NULL, "checksum" VARCHAR(64) NOT NULL, "migration_name" VARCHAR(255) NOT NULL)"#;

const PRISMA_MIGRATIONS_MYSQL: &str = "CREATE TABLE `_prisma_migrations` (
    `id` VARCHAR(36) PRIMARY KEY NOT NULL, `checksum` VARCHAR(64) NOT NULL, `migration_name` VARCHAR(255) NOT NULL)";

const RAILS_METADATA: &str = r#"CREATE TABLE "ar_internal_metadata" ("key" character varying NOT NULL PRIMARY KEY,
    "value" character varying, "created_at" timestamp(6) NOT NULL, "updated_at" timestamp(6) NOT NULL)"#;

const RAILS_POSTGRES: &str = r#"CREATE TABLE "contacts" ("id" bigserial primary key, "email" character varying,
    "phone_number" character varying, "linked_id" bigint, "link_precedence" character varying DEFAULT 'primary',
    "deleted_at" timestamp(6), "created_at" timestamp(6) NOT NULL, "updated_at" timestamp(6) NOT NULL)"#;

const RAILS_SQLITE: &str = r#"CREATE TABLE "contacts" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL,
    "email" varchar, "phone_number" varchar, "linked_id" bigint, "link_precedence" varchar DEFAULT 'primary',
    "deleted_at" datetime(6), "created_at" datetime(6) NOT NULL, "updated_at" datetime(6) NOT NULL)"#;
